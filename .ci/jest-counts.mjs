// Prints "passed failed ok" of a result that Jest wrote, or, with --names, every test that failed.
// A result that is missing or broken counts as one failure: whoever wrote it died.
import { readFileSync } from 'node:fs';

const [, , file, wants] = process.argv;

function read() {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

const result = read();
if (wants === '--names') {
  for (const suite of result?.testResults ?? []) {
    const failed = suite.assertionResults.filter(({ status }) => status === 'failed');
    for (const { fullName } of failed) console.log(`  ✕ ${suite.name.replace(`${process.cwd()}/`, '')}: ${fullName}`);
    if (suite.status === 'failed' && failed.length === 0)
      console.log(`  ✕ ${suite.name.replace(`${process.cwd()}/`, '')} did not run: ${suite.message}`);
  }
} else if (result === undefined) {
  console.log('0 1 false');
} else {
  // A suite that could not even be loaded has no tests to count.
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  console.log(`${result.numPassedTests} ${failed} ${result.success && result.numPassedTests > 0}`);
}
