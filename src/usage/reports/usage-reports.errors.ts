import { problem } from '../../platform/problems/problem.js';

export class TooManyGroups extends problem(
  400,
  'too_many_groups',
  'The answer would have more than 1,000 groups. Ask for a shorter time, or group by something coarser.',
) {}
