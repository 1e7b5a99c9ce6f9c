/** A containerd of its own for `ctr`, which pulls and pushes by its daemon. */
import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export interface Containerd extends AsyncDisposable {
  /** For `ctr -a`. */
  readonly socket: string
}

/** Keeps all it has below `folder`. Answers once it serves. */
export async function startContainerd(folder: string): Promise<Containerd> {
  const socket = join(folder, 'c.sock')
  writeFileSync(join(folder, 'config.toml'), `version = 2\nroot = "${folder}/root"\nstate = "${folder}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "${socket}"\n`)
  const daemon = spawn('containerd', ['--config', join(folder, 'config.toml')], { stdio: 'ignore' })
  const ended = new Promise<void>((done) => daemon.once('close', () => done()))
  const stop = async (): Promise<void> => {
    daemon.kill('SIGTERM')
    await ended
  }
  for (let attempt = 0; spawnSync('ctr', ['-a', socket, 'version']).status !== 0; attempt += 1) {
    if (attempt > 200) {
      await stop()
      throw new Error('containerd did not start')
    }
    await delay(50)
  }
  return { socket, [Symbol.asyncDispose]: stop }
}
