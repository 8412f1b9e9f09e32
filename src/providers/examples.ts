/** The ids and names in an example event. */
export interface ExampleNames {
  user: string;
  organization: string;
  email: string;
  /** A product id of the billing provider. */
  product: string;
  subscription: string;
}

/** Builds the data of an example event, by type. */
export type Examples = Record<string, (names: ExampleNames, now: number) => object>;
