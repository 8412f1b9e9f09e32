import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import vm from 'node:vm';
import { sourceMaps } from './modules.mjs';

const require = createRequire(import.meta.url);
const { default: Runtime } = require('jest-runtime');
let files = 0;

/** Jest's own modules are compiled in the worker's realm, and test files are loaded by Node. */
export default class SharedRuntime extends Runtime {
  constructor(...options) {
    super(...options);
    const { executor } = this;
    executor.compile = (source, filename) =>
      vm.compileFunction(source, executor.injectedModuleParameters, {
        filename,
        importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
      });
  }

  unstable_shouldLoadAsEsm(path) {
    return path.endsWith('.ts');
  }

  async unstable_importModule(path) {
    globalThis[Symbol.for('jest of this file')] = this.jestGlobals.jestObjectFor(path);
    return import(`${pathToFileURL(path).href}?file=${(files += 1)}`);
  }

  installGetBuiltinModule() {}

  getSourceMaps() {
    return sourceMaps;
  }
}
