/**
 * A server of S3 for suites: one that others wrote, a versitygw (github.com/versity/versitygw) or minio (github.com/minio/minio), both
 * built with Go, whose paths BERTH_S3_SERVERS names, separated by `:`; or else the stand-in.
 */
import { spawn } from 'node:child_process'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { mkdirSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { basename, join } from 'node:path'
import { sleep, systemClock } from '#base/clock.ts'
import { MemoryObjects } from './memory-objects.ts'
import type { S3Options } from './s3-objects.ts'
import { startS3StandIn } from './s3-stand-in.ts'

export interface S3Server extends AsyncDisposable {
  readonly options: S3Options
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Programs that serve S3 on this machine, by their names. */
export const s3Servers: ReadonlyMap<string, string> = new Map((process.env['BERTH_S3_SERVERS'] ?? '').split(':').filter((path) => path !== '').map((path) => [basename(path), path]))

/** With an empty bucket; what it stores on disk stands below `root`. Without a name, the first there is. */
export async function startS3Server(root: string, name: string | undefined = [...s3Servers.keys()][0]): Promise<S3Server> {
  const program = s3Servers.get(name ?? '')
  const credentials = { accessKeyId: 'test', secretAccessKey: 'secretsecret' }
  if (program === undefined) {
    const server = await startS3StandIn(new MemoryObjects({ clock: systemClock }))
    return { options: { endpoint: server.endpoint, bucket: 'bucket', credentials }, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  }
  const folder = join(root, 's3')
  mkdirSync(folder, { recursive: true })
  const host = `127.0.0.1:${await freePort()}`
  const options = { endpoint: `http://${host}`, bucket: 'bucket', credentials }
  const { accessKeyId, secretAccessKey } = credentials
  const keys = { ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey, MINIO_ROOT_USER: accessKeyId, MINIO_ROOT_PASSWORD: secretAccessKey }
  const args = name === 'minio' ? ['server', '--quiet', '--address', host, folder] : ['--quiet', '--port', host, 'posix', folder]
  const child = spawn(program, args, { stdio: 'ignore', env: { ...process.env, ...keys } })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  while (child.exitCode === null) {
    if (await makeBucket(options)) return { options, [Symbol.asyncDispose]: async () => (child.kill('SIGTERM'), await ended) }
    await sleep(systemClock, 50)
  }
  throw new Error(`${program} did not start`)
}

/** False while the server does not serve yet. */
async function makeBucket({ endpoint, bucket, credentials }: Required<Pick<S3Options, 'endpoint' | 'bucket' | 'credentials'>>): Promise<boolean> {
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials, maxAttempts: 1 })
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    return true
  } catch (error) {
    // Not listening yet, or listening and not ready; the loop ends with the server.
    if (error instanceof Error) return false
    throw error
  } finally {
    client.destroy()
  }
}
