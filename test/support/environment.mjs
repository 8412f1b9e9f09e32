import vm from 'node:vm';
import { TestEnvironment } from 'jest-environment-node';

/** Every context has its own, but Node makes its buffers of these. */
const OF_NODE = new Set(['Buffer', 'ArrayBuffer', 'Uint8Array']);

/**
 * Jest's environment for Node, with an ordinary global object. Jest's own is a proxy, which each mention of `Object`
 * in any module goes through: a seventh of what the tests take.
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
    // Both were made for the other global object.
    this.moduleMocker = new this.moduleMocker.constructor(global);
    this.fakeTimersModern = new this.fakeTimersModern.constructor({ config: config.projectConfig, global });
  }
}
