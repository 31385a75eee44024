// Who is signed in. The server keeps the session; its cookie cannot be read here.

import { ask } from "./api.js";

const PLACE = new URL("session", document.baseURI);

/** Whether a login is needed, of which kinds (`users`, `tokens`), and who is signed in (`user`). Servers that know no sessions need none. */
export async function session() {
  try {
    return await ask(PLACE);
  } catch {
    return { needed: false };
  }
}

export const signIn = (user, password) => ask(PLACE, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ user, password }) });
export const signOut = () => ask(PLACE, { method: "DELETE" });
