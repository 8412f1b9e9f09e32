/** Node loads the tests as any program, over `dist` (test/support/jest). */
export default {
  testEnvironment: '<rootDir>/test/support/jest/environment.mjs',
  runtime: '<rootDir>/test/support/jest/runtime.mjs',
  rootDir: '.',
  roots: ['<rootDir>/src', '<rootDir>/test'],
  testMatch: ['**/*.spec.ts', '**/*.e2e-spec.ts'],
  transform: {},
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  maxWorkers: 3,
  // Nothing is expected to take that long; a busy machine is no failure, though.
  testTimeout: 120_000,
  workerIdleMemoryLimit: '1GB',
  forceExit: false,
};
