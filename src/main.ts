import { requireNode } from './cli/required-node.js';

requireNode();
await import('./server.js');
