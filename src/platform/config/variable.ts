import type { z } from 'zod';

/** One environment variable: its check, its line in `.env.example` and its row in docs/configuration.md are made from this. */
export interface Variable {
  name: string;
  /** Parses the text. Its error completes the sentence "<name> …". */
  type: z.ZodType;
  /** A sentence for operators. Markdown code is fine, links are not. */
  description: string;
  required?: true;
  /** As it would be written in the environment. */
  default?: string;
  /** In words: what applies without a value where there is no fixed default. */
  whenUnset?: string;
  example?: string;
  secret?: true;
  /** The name of a variable that must be set too. */
  requires?: string;
}

export type Variables = Record<string, Variable>;

export interface VariableGroup {
  title: string;
  /** A page of `docs/` that tells more. */
  page?: string;
  variables: Variables;
}

/** What a variable is in the application. */
type Value<V extends Variable> = V extends { required: true } | { default: string } ? z.output<V['type']> : z.output<V['type']> | undefined;

export type Values<T extends Variables> = { readonly [K in keyof T]: Value<T[K]> };
