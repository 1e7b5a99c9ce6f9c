/**
 * `docker import URL`: the root file system comes over HTTP or HTTPS and is imported while it arrives. Redirects are followed, but not from
 * HTTPS to plain HTTP. A user and password in the address go to its host alone and are shown nowhere. Words and statuses of dockerd.
 */
import { STATUS_CODES } from '#base/http-module.ts'
import { Fault, isFault, type FaultCode } from '#base/fault.ts'
import { Transport, type Answer } from '#oci/client/transport.ts'
import type { Image, ImportRootOptions, TransferProgress } from '../contract/images.ts'
import { importRoot } from './import-root.ts'
import { namedTag } from './image-names.ts'
import type { ImageStore } from './image-store.ts'

export interface UrlImportOptions extends ImportRootOptions {
  readonly onProgress?: (progress: TransferProgress) => void
}

export async function importUrl(store: ImageStore, source: string, options: UrlImportOptions): Promise<Image> {
  // Refused before anything is fetched.
  if (options.name !== undefined) namedTag(options.name)
  const { url, address } = parseSource(source)
  using transport = new Transport({ insecure: false })
  const answer = await ask(transport, { url, address, ...(options.signal === undefined ? {} : { signal: options.signal }) })
  options.onProgress?.({ status: `Downloading from ${address}` })
  const message = options.message ?? `Imported from ${url.username === '' && url.password === '' ? source : address}`
  return await importRoot(store, arriving(answer, options.onProgress ?? (() => {})), { ...options, message })
}

/** Where there is no scheme it is HTTP. `address` is for people: without a password. */
function parseSource(source: string): { readonly url: URL; readonly address: string } {
  const text = source.includes('://') ? source : `http://${source}`
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) throw new Fault('invalidArgument', 'the source of an import is no address: expected http://HOST/PATH, https://HOST/PATH or -')
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new Fault('invalidArgument', `unsupported protocol scheme "${url.protocol.slice(0, -1)}": expected http or https`)
  if (url.username === '' && url.password === '') return { url, address: text }
  const redacted = new URL(url)
  redacted.username = redacted.password = 'xxxxx'
  return { url, address: redacted.href }
}

async function ask(transport: Transport, { url, address, signal }: { readonly url: URL; readonly address: string; readonly signal?: AbortSignal }): Promise<Answer> {
  const answer = await transport.exchange({ method: 'GET', url, ...(signal === undefined ? {} : { signal }) }).catch((error: unknown) => {
    if (isFault(error, 'unavailable')) throw new Fault(error.details['errno'] === 'ENOTFOUND' ? 'notFound' : 'internal', error.message, { cause: error })
    throw error
  })
  if (answer.status < 400) return answer
  const words = (await beginningOf(answer)).trim()
  throw new Fault(refusals[answer.status] ?? 'internal', `failed to GET ${address} with status ${answer.status} ${STATUS_CODES[answer.status] ?? ''}: ${words}`)
}

const refusals: Readonly<Record<number, FaultCode>> = { 400: 'invalidArgument', 401: 'unauthenticated', 403: 'permissionDenied', 404: 'notFound' }

const longestWordsBytes = 4096

async function beginningOf({ body }: Answer): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    chunks.push(Buffer.from(chunk))
    length += chunk.length
    if (length >= longestWordsBytes) break
  }
  return Buffer.concat(chunks).subarray(0, longestWordsBytes).toString()
}

/** Tells of the progress at most a hundred times, as a pull does, and where the length is not known every half megabyte. */
async function* arriving({ body, headers, url }: Answer, onProgress: (progress: TransferProgress) => void): AsyncGenerator<Uint8Array> {
  const totalBytes = headers['content-length'] === undefined ? undefined : Number(headers['content-length'])
  const bytesPerReport = Math.max(512 * 1024, (totalBytes ?? 0) / 100)
  let [current, told] = [0, 0]
  const tell = (): void => {
    told = current
    onProgress({ status: 'Importing', currentBytes: current, ...(totalBytes === undefined ? {} : { totalBytes }) })
  }
  try {
    for await (const chunk of body) {
      current += chunk.length
      if (current - told >= bytesPerReport) tell()
      yield chunk
    }
  } catch (error) {
    throw isFault(error) ? error : new Fault('unavailable', `the download from ${url.host} broke off after ${current} bytes: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
  tell()
}
