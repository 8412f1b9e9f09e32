import type { TestApp } from './app.js';

export const PASSWORD = 'correct horse battery staple';

let counter = 0;

export interface SignedInPerson {
  id: string;
  email: string;
  name: string;
  /** `Authorization: Bearer …` */
  token: string;
  /** `better-auth.session_token=…` */
  cookie: string;
  /** Header for supertest's `.set()`. */
  auth: { authorization: string };
}

/** Signs a new user up over HTTP. */
export async function signUp(
  { http }: Pick<TestApp, 'http'>,
  given: { email?: string; name?: string; password?: string } = {},
): Promise<SignedInPerson> {
  counter += 1;
  const person = { email: `person-${counter}-${process.pid}@example.com`, name: `Person ${counter}`, password: PASSWORD, ...given };
  const answer = await http.post('/v1/auth/sign-up/email').send(person).expect(200);
  return signedIn(answer, person);
}

/** Opens another session of a user. */
export async function signIn(
  { http }: Pick<TestApp, 'http'>,
  person: { email: string; name: string },
  password = PASSWORD,
): Promise<SignedInPerson> {
  return signedIn(await http.post('/v1/auth/sign-in/email').send({ email: person.email, password }).expect(200), person);
}

/** Signs up an operator; the flag is set as on the command line. */
export async function signUpOperator(app: Pick<TestApp, 'http' | 'db'>): Promise<SignedInPerson> {
  const person = await signUp(app);
  await app.db.rows('UPDATE users SET operator = true WHERE id = $1', [person.id]);
  return person;
}

function signedIn(
  answer: { body: { user: { id: string } }; headers: Record<string, string> },
  { email, name }: { email: string; name: string },
): SignedInPerson {
  const token = answer.headers['set-auth-token']!;
  const cookies = answer.headers['set-cookie'] as unknown as string[];
  const cookie = cookies.find((line) => line.startsWith('better-auth.session_token='))!.split(';', 1)[0]!;
  return { id: answer.body.user.id, email: email.toLowerCase(), name, token, cookie, auth: { authorization: `Bearer ${token}` } };
}
