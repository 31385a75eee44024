// Signing in. The address stays as it is, so a link leads where it should once the login is right.

import { fill, h } from "../lib/dom.js";
import { signIn } from "../lib/session.js";

export class SignInPage {
  /** `kinds`: whether there are `users` with passwords, and `tokens`. `done(user)` is called when somebody is signed in. */
  constructor(main, kinds, done) {
    Object.assign(this, { done });
    document.title = "Sign in · yolo11";
    this.named = kinds.users !== false;
    const secret = !this.named ? "Token" : kinds.tokens ? "Password or token" : "Password";
    this.user = h("input", { type: "text", autocomplete: "username", autocapitalize: "none", spellcheck: "false" });
    this.password = h("input", { type: "password", autocomplete: "current-password" });
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.button = h("button", { type: "submit", class: "primary" }, "Sign in");
    fill(main, h("form", { class: "sign-in", onsubmit: (event) => { event.preventDefault(); this.submit(); } },
      h("h1", {}, "Sign in"), h("p", { class: "muted" }, `The runs at ${location.host} are for those who have a login.`),
      this.named ? h("label", {}, h("span", {}, "User"), this.user) : null, h("label", {}, h("span", {}, secret), this.password), this.problem, this.button));
    (this.named ? this.user : this.password).focus();
  }

  async submit() {
    this.button.disabled = true;
    this.problem.hidden = true;
    try {
      const { user } = await signIn(this.user.value.trim(), this.password.value);
      this.done(user);
    } catch (error) {
      this.button.disabled = false;
      this.problem.textContent = error.status !== 401 ? error.message : this.named ? "The user or the password is wrong." : "The token is wrong.";
      this.problem.hidden = false;
      this.password.select();
      this.password.focus();
    }
  }

  destroy() {}

  update() {}
}
