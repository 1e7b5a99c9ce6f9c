/** How a command ends when it does not simply succeed: the message for standard error and the exit code scripts rely on. */

export class ExitError extends Error {
  override name = 'ExitError'
  /** 1 a refusal, 125 the engine failed, 126 not executable, 127 not found, else the container's own code. */
  readonly exitCode: number

  constructor(message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}
