// Prints "passed failed ok" of results that Jest wrote, added up, or, with --names, every test that failed.
// A result that is missing or broken counts as one failure: whoever wrote it died.
import { readFileSync } from 'node:fs';

const files = process.argv.slice(2).filter((word) => word !== '--names');

function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

function countsOf(result) {
  if (result === undefined) return { passed: 0, failed: 1, ok: false };
  // A suite that could not even be loaded has no tests to count.
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  return { passed: result.numPassedTests, failed, ok: result.success && result.numPassedTests > 0 };
}

const results = files.map(read);
if (process.argv.includes('--names')) {
  for (const suite of results.flatMap((result) => result?.testResults ?? [])) {
    const failed = suite.assertionResults.filter(({ status }) => status === 'failed');
    for (const { fullName } of failed) console.log(`  ✕ ${suite.name.replace(`${process.cwd()}/`, '')}: ${fullName}`);
    if (suite.status === 'failed' && failed.length === 0)
      console.log(`  ✕ ${suite.name.replace(`${process.cwd()}/`, '')} did not run: ${suite.message}`);
  }
} else {
  const counts = results.map(countsOf);
  const sum = (name) => counts.reduce((total, one) => total + one[name], 0);
  console.log(`${sum('passed')} ${sum('failed')} ${counts.every(({ ok }) => ok)}`);
}
