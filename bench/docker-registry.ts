/** Debian's docker-registry (distribution 2.8) as the peer: own folder and port, ended by its own pid. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export interface DockerRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string
  readonly pid: number
}

/** undefined where it is not installed. */
export async function startDockerRegistry(port = 5999): Promise<DockerRegistry | undefined> {
  if (!existsSync('/usr/bin/docker-registry')) return undefined
  const root = mkdtempSync(join(tmpdir(), 'dr-'))
  const config = join(root, 'config.yml')
  const host = `127.0.0.1:${port}`
  writeFileSync(config, `version: 0.1\nstorage: {filesystem: {rootdirectory: ${root}/data}, delete: {enabled: true}}\nhttp: {addr: "${host}"}\nlog: {level: error, accesslog: {disabled: true}}\n`)
  const server = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()))
  for (let attempt = 0; !(await answers(host)); attempt += 1) {
    if (attempt > 100 || server.exitCode !== null) {
      server.kill('SIGKILL')
      rmSync(root, { recursive: true })
      throw new Error('docker-registry did not start')
    }
    await delay(50)
  }
  return {
    host,
    pid: server.pid ?? 0,
    async [Symbol.asyncDispose]() {
      server.kill('SIGTERM')
      await ended
      rmSync(root, { recursive: true })
    },
  }
}

async function answers(host: string): Promise<boolean> {
  try {
    return (await fetch(`http://${host}/v2/`)).ok
  } catch (error) {
    if (error instanceof TypeError) return false
    throw error
  }
}
