/**
 * What a case of the differential run is: lines of shell, each run by itself with `docker` on its path, the same with each client
 * against each engine. What a line prints and its exit code are compared; a case that is to tell more asks for it with more lines.
 */

export type ClientName = '28' | '20.10'

export interface CliCase {
  /** `theme/what is shown`. */
  readonly name: string
  /**
   * Beside docker there are `eventually CMD…` (until it succeeds, silently, 20 s at most), `pty [EXPECT SEND]… -- CMD…` (a terminal that
   * types SEND when EXPECT was printed), and in the working directory what the line before left. A line that dockerd is to refuse starts
   * with `! `: one that fails, or does not fail, against the intent fails the case.
   */
  readonly lines: readonly string[]
  /** Clients that know the flags; absent: both. */
  readonly clients?: readonly ClientName[]
  /** With client 28 at API 1.50 only exit codes are compared; here, by line number from 0, those that rightly differ from 1.41. */
  readonly exitCodesAt150?: Readonly<Record<number, number>>
}

export interface StepOutcome {
  readonly line: string
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number
}

/** One way through all cases: a client at an API version against one engine. */
export interface Lane {
  readonly engine: 'dockerd' | 'berth'
  readonly client: ClientName
  readonly apiVersion: '1.41' | '1.50'
}

/** Case name → what its lines gave. */
export type Transcript = Readonly<Record<string, readonly StepOutcome[]>>

export interface LaneResult extends Lane {
  readonly transcript: Transcript
  /** Argument vectors with which docker was called. */
  readonly calls: readonly (readonly string[])[]
}

export const clientPaths: Readonly<Record<ClientName, string>> = { '28': '/usr/local/bin/docker', '20.10': '/usr/bin/docker' }
