import vm from 'node:vm';
import { TestEnvironment } from 'jest-environment-node';

/** Constructors that every context has separately, but of which Node creates its buffers. */
const OF_NODE = new Set(['Buffer', 'ArrayBuffer', 'Uint8Array']);

/**
 * Jest's environment for Node, with an ordinary global object. Jest's own global is a proxy, which every use of `Object` in any module
 * passes: a seventh of the tests' time.
 */
export default class OrdinaryEnvironment extends TestEnvironment {
  constructor(config, context) {
    super(config, context);
    const global = vm.createContext(vm.constants.DONT_CONTEXTIFY);
    for (const [name, { enumerable }] of Object.entries(Object.getOwnPropertyDescriptors(this.global))) {
      if (!OF_NODE.has(name) && Object.hasOwn(global, name)) continue;
      Object.defineProperty(global, name, { value: this.global[name], enumerable, configurable: true, writable: true });
    }
    global.global = global;
    this.global = global;
    this.context = global;
    // Both were created for the other global object.
    this.moduleMocker = new this.moduleMocker.constructor(global);
    this.fakeTimersModern = new this.fakeTimersModern.constructor({ config: config.projectConfig, global });
  }
}
