/** Who and what an example event is about. */
export interface ExampleNames {
  user: string;
  organization: string;
  email: string;
  /** One of the billing provider's. */
  product: string;
  subscription: string;
}

/** What an event says, by its type. */
export type Examples = Record<string, (names: ExampleNames, now: number) => object>;
