import { existsSync } from 'node:fs';
import { derivedSettings } from './derived-settings.js';
import type { Variable } from './variable.js';
import { VARIABLES, type VariableValues } from './variables.js';

type Environment = Record<string, string | undefined>;

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

type DerivedSettings = ReturnType<typeof derivedSettings>;
type Settings = Readonly<Omit<VariableValues, keyof DerivedSettings> & DerivedSettings>;

/** The variables describe the fields, so the class does not list them again. */
const Fields = class {
  constructor(settings: object) {
    Object.assign(this, settings);
  }
} as new (settings: Settings) => Settings;

export class Config extends Fields {}

export type PlanSettings = Pick<Config, 'plansFile' | 'billingProducts'>;

export class ConfigError extends Error {
  constructor(readonly mistakes: string[]) {
    super(`The configuration is wrong:\n${mistakes.map((mistake) => `  - ${mistake}`).join('\n')}`);
  }
}

/** @param checkPlans returns the mistakes in the plans, to report all mistakes together @throws {ConfigError} */
export function loadConfig(environment: Environment, checkPlans: (plans: PlanSettings) => string[] = () => []): Config {
  const given = dropEmptyValues(environment);
  const parsed = Object.entries<Variable>(VARIABLES).map(([key, variable]) => ({ key, ...parse(variable, given) }));
  const values = Object.fromEntries(parsed.map(({ key, value }) => [key, value])) as VariableValues;
  const mistakes = parsed.flatMap((variable) => variable.mistakes);
  if (values.sessionIdleSeconds > values.sessionAbsoluteSeconds) {
    mistakes.push('SESSION_IDLE_SECONDS must not exceed SESSION_ABSOLUTE_SECONDS');
  }
  if (values.environment === 'production') mistakes.push(...publicUrlMistakes(given, values));
  mistakes.push(...checkPlans(values));
  if (mistakes.length > 0) throw new ConfigError([...new Set(mistakes)]);
  return new Config({ ...values, ...derivedSettings(values) });
}

function parse({ name, type, required, requires, ...variable }: Variable, given: Environment): { value?: unknown; mistakes: string[] } {
  const text = given[name] ?? variable.default;
  if (text === undefined) return { mistakes: required === true ? [`${name} is not set`] : [] };
  const { data, error } = type.safeParse(text);
  const mistakes = (error?.issues ?? []).map(({ message }) => `${name} ${message}`);
  if (requires !== undefined && given[requires] === undefined) mistakes.push(`${requires} is not set, but ${name} needs it`);
  return { value: data, mistakes };
}

/** Without https, cookies are not `Secure`: nobody may get that by leaving a variable out. */
function publicUrlMistakes(given: Environment, { publicUrl }: VariableValues): string[] {
  if (given['PUBLIC_URL'] === undefined) return ['PUBLIC_URL is not set'];
  const isAllowed = publicUrl === undefined || publicUrl.startsWith('https:') || LOOPBACK.test(new URL(publicUrl).hostname);
  return isAllowed ? [] : ['PUBLIC_URL must be an https URL in production (http only for localhost)'];
}

/** Compose files and CI systems write `NAME=` for a variable that is not set. */
export function dropEmptyValues(environment: Environment): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).flatMap(([name, value]) => (value?.trim() ? [[name, value]] : [])));
}

/** The environment of the process, completed from a `.env` file where there is one. The only reader of `process.env`. */
export function readEnvironment(): Environment {
  if (existsSync('.env')) process.loadEnvFile('.env');
  return { ...process.env };
}
