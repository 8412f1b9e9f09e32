import { problem } from '../platform/problems/problem.js';

export class OtherCurrency extends problem(
  409,
  'other_currency',
  'All prices have one currency. To change it, send every existing price in the new currency.',
) {}
