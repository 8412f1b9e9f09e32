import { problem } from '../platform/problems/problem.js';

export class OtherCurrency extends problem(
  409,
  'other_currency',
  'All prices have one currency. Send every price that there is in the new one to change it.',
) {}
