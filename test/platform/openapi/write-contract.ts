import { readFileSync, writeFileSync } from 'node:fs';
import { contractOf, format } from './contract.js';

writeFileSync('test/platform/openapi/contract.txt', format(contractOf(JSON.parse(readFileSync('openapi.json', 'utf8')))));
