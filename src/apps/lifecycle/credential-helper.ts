/** Runs a credential helper of docker's clients for the command line. */
import { Fault } from '#base/fault.ts'
import { openKernel } from '#linux/real/kernel.ts'

/** Answers what it printed; undefined when it knows nothing of the server. */
export async function runCredentialHelper(argv: readonly string[], input: string): Promise<string | undefined> {
  await using kernel = await openKernel()
  const env = Object.fromEntries(Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
  const { exitCode, stdout } = await kernel.processes.run(argv, { stdin: input, env, timeoutMs: 60_000 })
  if (exitCode === 0) return stdout.toString()
  const said = stdout.toString().trim()
  // The helpers' agreed words for a server they do not know.
  if (said === 'credentials not found in native keychain') return undefined
  throw new Fault('unauthenticated', `${argv.join(' ')} failed: ${said === '' ? `exit status ${exitCode}` : said}`)
}
