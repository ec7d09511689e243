/** Requests to the service the page comes from. */

/** The service did not do what was asked. */
export class Refused extends Error {
  /** @param {number} status of the answer, 0 where there was none @param {object} body */
  constructor(status, body) {
    super(sentence(status, body));
    this.name = "Refused";
    /** HTTP status, 0 where the service could not be reached. */
    this.status = status;
    /** The answer's own fields. */
    this.body = body;
  }
}

/** Asks one database for what the stream does not bring. */
export class Api {
  #base;

  /** @param {string | URL} [base] address of the database's service, ending with a slash. */
  constructor(base = document.baseURI) {
    this.#base = new URL(base);
    this.#base.search = this.#base.hash = "";
  }

  /**
   * @param {string[]} path its pieces, such as `["tables", name, "rows"]`; they are encoded here.
   * @param {Record<string, unknown>} [parameters] of the query; what is undefined or null is left
   *   out, objects are sent as JSON.
   * @returns {string}
   */
  address(path, parameters = {}) {
    const url = new URL(path.map(encodeURIComponent).join("/"), this.#base);
    for (const [name, value] of Object.entries(parameters)) {
      if (value === undefined || value === null) continue;
      url.searchParams.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
    }
    return url.href;
  }

  /**
   * @param {string[]} path
   * @param {Record<string, unknown>} [parameters]
   * @param {{signal?: AbortSignal, method?: string, body?: unknown}} [options]
   * @returns {Promise<any>} what was answered, see {@link parse}.
   * @throws {Refused} the service said no, or could not be reached.
   */
  async ask(path, parameters, options) {
    return (await this.answer(path, parameters, options)).body;
  }

  /**
   * As `ask`, with the status: some answers mean "not yet".
   * @param {string[]} path
   * @param {Record<string, unknown>} [parameters]
   * @param {{signal?: AbortSignal, method?: string, body?: unknown}} [options]
   * @returns {Promise<{status: number, body: any}>}
   * @throws {Refused}
   */
  async answer(path, parameters, { signal, method = "GET", body } = {}) {
    const request = { signal, method, headers: { Accept: "application/json" } };
    if (body !== undefined) {
      request.body = JSON.stringify(body);
      request.headers["Content-Type"] = "application/json";
    }
    const { response, content } = await fetched(this.address(path, parameters), request);
    const parsed = parse(new TextDecoder().decode(content));
    if (!response.ok) throw new Refused(response.status, parsed);
    return { status: response.status, body: parsed };
  }

  /**
   * Fetches a value that is too large for the stream.
   * @param {{$large: {type: "text" | "blob", sha256: string}}} large what stands for it in a row
   * @returns {Promise<string | Uint8Array>}
   * @throws {Refused} it is not kept any more, or cannot be had.
   */
  async value({ $large: { type, sha256 } }) {
    const { response, content } = await fetched(this.address(["values", sha256]), {});
    const detail = response.status === 404 ? "This value is not kept any more." : undefined;
    if (!response.ok) throw new Refused(response.status, { detail });
    // A byte order mark is a character of the text.
    return type === "text" ? new TextDecoder("utf-8", { ignoreBOM: true }).decode(content) : content;
  }
}

// An answer may break off after its head has come; that is no other trouble than before it.
async function fetched(address, request) {
  try {
    const response = await fetch(address, request);
    return { response, content: new Uint8Array(await response.arrayBuffer()) };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, {});
  }
}

/**
 * Reads JSON as `client.js` does: a real that is whole becomes `{"$real": "1.0"}`.
 * @param {string} text
 * @returns {any} an empty object where it is no JSON.
 */
export function parse(text) {
  try {
    return JSON.parse(text, (_, value, context) =>
      Number.isInteger(value) && /[.eE]/.test(context?.source ?? "")
        ? { $real: context.source }
        : value,
    );
  } catch {
    return {}; // what a proxy in between has to say is not for the reader of this page
  }
}

function sentence(status, { detail } = {}) {
  if (status === 0) return "The service cannot be reached.";
  if (typeof detail === "string") return detail;
  return `The service answered with an error (${status}).`;
}
