/** Files that a build fetches over HTTP and HTTPS: sources of ADD, and contexts. */
import { posix } from 'node:path'
import { STATUS_CODES } from '#base/http-module.ts'
import { Fault, isFault } from '#base/fault.ts'
import { humanSize } from '#base/human.ts'
import { Transport, type Answer } from '#oci/client/transport.ts'

/** More is refused: a server that never ends must not fill the disk. */
export const maxDownloadBytes = 16 * 1024 ** 3

export interface Download {
  /** What tells one version from another: the server's ETag and time; undefined where it gives none. */
  readonly version: string | undefined
  /** Of `Last-Modified`; 1970 where the server says nothing. */
  readonly modifiedNs: bigint
  /** The file's name: of the address's path, or of `Content-Disposition`. */
  readonly name: string
  readonly totalBytes: number | undefined
  /** Must be read or `close` called. */
  readonly content: AsyncIterable<Buffer>
  close(): void
}

export interface DownloadOptions {
  readonly signal: AbortSignal
  readonly onProgress: (currentBytes: number, totalBytes: number | undefined) => void
}

export async function download(transport: Transport, source: string, { signal, onProgress }: DownloadOptions): Promise<Download> {
  if (!URL.canParse(source)) throw new Fault('invalidArgument', `${source} is no address: expected http://HOST/PATH or https://HOST/PATH`)
  const url = new URL(source)
  // For people: without a password.
  const shown = new URL(url)
  if (shown.password !== '') shown.password = 'xxxxx'
  const address = shown.href
  const answer = await transport.exchange({ method: 'GET', url, signal })
  if (answer.status < 200 || answer.status >= 300) {
    answer.body.destroy()
    throw new Fault(answer.status === 404 ? 'notFound' : 'unavailable', `invalid response status ${answer.status} ${STATUS_CODES[answer.status] ?? ''} of ${address}`)
  }
  const length = Number(answer.headers['content-length'] ?? Number.NaN)
  const totalBytes = Number.isSafeInteger(length) ? length : undefined
  if ((totalBytes ?? 0) > maxDownloadBytes) {
    answer.body.destroy()
    throw new Fault('tooLarge', `${address} has ${humanSize(totalBytes ?? 0)}; at most ${humanSize(maxDownloadBytes)} are fetched`)
  }
  const modifiedMs = Date.parse(answer.headers['last-modified'] ?? '')
  const versions = [answer.headers.etag, answer.headers['last-modified']].filter((each) => each !== undefined)
  return {
    version: answer.headers.etag === undefined ? undefined : versions.join(' '),
    modifiedNs: Number.isNaN(modifiedMs) ? 0n : BigInt(modifiedMs) * 1_000_000n,
    name: fileName(url, answer),
    totalBytes,
    content: arriving(answer, address, (current) => onProgress(current, totalBytes)),
    close: () => answer.body.destroy(),
  }
}

async function* arriving({ body }: Answer, address: string, onProgress: (currentBytes: number) => void): AsyncGenerator<Buffer> {
  let [current, told] = [0, 0]
  try {
    for await (const chunk of body) {
      current += chunk.length
      if (current > maxDownloadBytes) throw new Fault('tooLarge', `${address} sends more than ${humanSize(maxDownloadBytes)}`)
      if (current - told >= reportBytes) onProgress((told = current))
      yield chunk
    }
  } catch (error) {
    throw isFault(error) ? error : new Fault('unavailable', `the download of ${address} broke off after ${current} bytes: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
  onProgress(current)
}

const reportBytes = 1 << 20

function fileName(url: URL, { headers }: Answer): string {
  const base = posix.basename(decodeURIComponent(url.pathname))
  if (base !== '' && base !== '.' && base !== '..') return base
  const given = /filename="?([^";]+)"?/.exec(headers['content-disposition'] ?? '')?.[1]
  const name = given === undefined ? '' : posix.basename(given)
  return name === '' || name === '.' || name === '..' ? '__unnamed__' : name
}
