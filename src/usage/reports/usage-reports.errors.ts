import { problem } from '../../platform/problems/problem.js';

export class TooManyGroups extends problem(
  400,
  'too_many_groups',
  'The summary would have more than 1,000 groups. Choose a shorter time or a coarser grouping.',
) {}
