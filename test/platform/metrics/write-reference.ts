import { writeFileSync } from 'node:fs';
import { referencePage } from '../../support/metrics-reference.js';

writeFileSync('docs/metrics.md', (await referencePage()).shouldBe);
