import { problem } from '../platform/problems/problem.js';

export class SlugTaken extends problem(409, 'slug_taken', 'Another organization uses this slug; `errors` names a free one.') {}
export class SlugReserved extends problem(409, 'slug_reserved', 'This slug is reserved; `errors` names a free one.') {}
