/**
 * One kind of error for all that can go wrong.
 *
 * Codes below 900 are those of docs/protocol.md, section 7, as the server said
 * them; 900 to 999 are this client's own and never on the wire; those from 1000
 * on are the application's.
 */

/** What this client says by itself: number, name, and whether it may pass. */
const LOCAL = {
  bad_message: [100, false],
  not_allowed: [102, false],
  too_large: [103, false],
  timeout: [106, true],
  internal: [107, true],
  unknown_event: [101, false],
  connection_lost: [900, true],
  closed: [901, false],
  outbox_full: [902, true],
  dropped: [903, true],
  dial_failed: [904, true],
  no_welcome: [905, true],
  server_silent: [906, true],
  token_failed: [907, true],
  not_open: [908, true],
  reader_too_slow: [909, true],
  left: [910, false],
  bad_option: [911, false],
  handler_failed: [912, false],
  cancelled: [913, false],
} as const satisfies Record<string, readonly [number, boolean]>;

/** The names of the errors that do not come from the server. */
export type LocalErrorName = keyof typeof LOCAL;

/** What a `peal:error` or `peal:fail` carries. */
export interface Failure {
  code: number;
  name?: string;
  message?: string;
  temporary?: boolean;
}

export class PealError extends Error {
  /** Stable number, for programs: 106. */
  readonly code: number;
  /** Stable name, for programs: "timeout". */
  override readonly name: string;
  /** Whether the same may work later. */
  readonly temporary: boolean;

  /**
   * An error of an application, to be thrown where the server's request is
   * answered: `throw new PealError({ code: 1000, name: "no_camera" })`.
   */
  constructor(failure: Failure, cause?: unknown) {
    super(failure.message ?? failure.name ?? `Failure ${failure.code}`,
      cause === undefined ? undefined : { cause });
    this.code = failure.code;
    this.name = failure.name ?? "failure";
    this.temporary = failure.temporary ?? false;
  }

  /** Where this error is explained. */
  get docs(): string {
    return `peal/README.md#error-${this.name}`;
  }

  toJSON(): Required<Failure> {
    const { code, name, message, temporary } = this;
    return { code, name, message, temporary };
  }
}

/** An error of this client. */
export function localError(
  name: LocalErrorName, message: string, cause?: unknown,
): PealError {
  const [code, temporary] = LOCAL[name];
  return new PealError({ code, name, message, temporary }, cause);
}

/** The error that a server's `peal:error` tells, however little it says. */
export function serverError(data: unknown): PealError {
  const said = (typeof data === "object" ? data : null) as Failure | null;
  return new PealError({
    code: typeof said?.code === "number" ? said.code : 107,
    name: typeof said?.name === "string" ? said.name : "internal",
    message: typeof said?.message === "string" ? said.message : undefined,
    temporary: said?.temporary === true,
  });
}
