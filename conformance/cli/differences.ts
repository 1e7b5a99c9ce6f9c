/**
 * Where Berth's output rightly differs from dockerd 20.10's, with the reason. A difference is a pair of texts within one line's output:
 * both become the same mark, everything around them is still compared. One that no longer occurs fails the run.
 */
export interface Difference {
  /** The case's name, or a pattern where several share the difference. */
  readonly cases: RegExp
  readonly dockerd: RegExp
  readonly berth: RegExp
  readonly reason: string
}

export const differences: readonly Difference[] = []
