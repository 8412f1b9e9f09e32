import { readFileSync, writeFileSync } from 'node:fs';
import { contractOf, format } from './contract.js';

writeFileSync('test/openapi/contract.txt', format(contractOf(JSON.parse(readFileSync('openapi.json', 'utf8')))));
