/** A socket on this machine behind which a client's ssh agent answers, for as long as a command needs it. */
import { open, type FileHandle } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { BuildLoans } from '../http/backend.ts'

export class AgentSocket implements AsyncDisposable {
  readonly path: string
  readonly #server: Server
  readonly #folder: FileHandle
  readonly #connections: ReadonlySet<Socket>

  private constructor(path: string, server: Server, folder: FileHandle, connections: ReadonlySet<Socket>) {
    this.path = path
    this.#server = server
    this.#folder = folder
    this.#connections = connections
  }

  /** `folder` is there, and holds no `name`. */
  static async open(loans: Pick<BuildLoans, 'forwardAgent'>, id: string, { folder: path, name }: { readonly folder: string; readonly name: string }): Promise<AgentSocket> {
    const folder = await open(path, 'r')
    const connections = new Set<Socket>()
    const server = createServer({ allowHalfOpen: true }, (connection) => {
      connections.add(connection)
      connection.once('close', () => connections.delete(connection))
      connection.on('error', () => connection.destroy())
      // The program sees its connection end, and says so in its own words.
      loans.forwardAgent(id, connection).catch(() => connection.destroy())
    })
    // Through the descriptor: a socket's path holds 107 bytes, and a build's folders have long names.
    await new Promise<void>((done, fail) => server.on('error', fail).listen(`/proc/self/fd/${folder.fd}/${name}`, done))
    return new AgentSocket(join(path, name), server, folder, connections)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Who used it is gone; the client's side may be silent for ever.
    for (const connection of this.#connections) connection.destroy()
    await new Promise<void>((done) => this.#server.close(() => done()))
    await this.#folder.close()
  }
}
