/** Programs of others, run while this process serves them. */
import { spawn } from 'node:child_process'

/** Who the registry knows. */
export const user = 'joe:pw'

/** Runs to its end while the registry, which lives in this process, goes on serving. */
export async function must(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (part: string) => (out += part))
  child.stderr.setEncoding('utf8').on('data', (part: string) => (err += part))
  const code = await new Promise<number | null>((done, fail) => child.once('error', fail).once('close', done))
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${err.slice(-2000)}`)
  return out.trim()
}

export function digestIn(text: string): string {
  return /sha256:[0-9a-f]{64}/.exec(text)?.[0] ?? 'no digest'
}
