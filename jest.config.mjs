/**
 * Tests run over `dist`, the very build that ships: the OpenAPI plugin does not run under SWC.
 * Only the tests themselves are transformed.
 */
export default {
  testEnvironment: '<rootDir>/test/support/environment.mjs',
  rootDir: '.',
  roots: ['<rootDir>/src', '<rootDir>/test'],
  testMatch: ['**/*.spec.ts', '**/*.e2e-spec.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2024',
          parser: { syntax: 'typescript', decorators: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
        },
      },
    ],
  },
  moduleNameMapper: {
    '^(?:\\.{1,2}/)+src/(.*)\\.js$': '<rootDir>/dist/$1.js',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  maxWorkers: 2,
  // Nothing is expected to take that long; a busy machine is no failure, though.
  testTimeout: 120_000,
  // What a test file has loaded stays in its worker, which takes longer to end than Jest waits.
  workerIdleMemoryLimit: '1GB',
  forceExit: false,
};
