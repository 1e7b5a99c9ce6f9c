/** Resolves at the first SIGTERM or SIGINT. A process that waits for it ends by closing what it opened. */
export function untilTerminated(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve())
  })
}
