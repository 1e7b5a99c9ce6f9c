/** S3's protocol over objects in memory, as far as our client uses it, for tests without a server. Signatures are not looked at. */
import { createServer } from '#base/http-module.ts'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseTarget, readBody, sendBytes, sendEmpty } from '#base/http.ts'
import type { ListedObject, ObjectStat } from './contract.ts'
import type { MemoryObjects } from './memory-objects.ts'

/** S3's own are ten times as long. */
const pageSize = 100
const maxObjectBytes = 64 * 1024 * 1024

/** Serves one bucket, whatever its name. */
export async function startS3StandIn(objects: MemoryObjects): Promise<AsyncDisposable & { readonly endpoint: string }> {
  const server = createServer((req, res) => void answer(objects, req, res))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function answer(objects: MemoryObjects, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { path, query } = parseTarget(req.url ?? '/')
  const key = decodeURIComponent(path.split('/').slice(2).join('/'))
  if (query.get('list-type') === '2') return await list(objects, query, res)
  switch (req.method) {
    case 'HEAD': {
      const found = await objects.stat(key)
      return found === undefined ? refuse(res, 404, 'NotFound') : void res.writeHead(200, { ...headersOf(found), 'Content-Length': found.sizeBytes }).end()
    }
    case 'GET':
      return await get(objects, key, req, res)
    case 'PUT': {
      const { 'if-none-match': absent, 'if-match': etag } = req.headers
      const body = await readBody(req, { maxBytes: maxObjectBytes })
      const condition = absent !== undefined ? { absent: true as const } : etag === undefined ? undefined : { etag: unquoted(etag) }
      return (await objects.put(key, body, condition)) ? sendEmpty(res) : refuse(res, 412, 'PreconditionFailed')
    }
    case 'DELETE':
      await objects.delete(key)
      return sendEmpty(res, { status: 204 })
    default:
      return refuse(res, 405, 'MethodNotAllowed')
  }
}

async function get(objects: MemoryObjects, key: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const found = await objects.get(key)
  if (found === undefined) return refuse(res, 404, 'NoSuchKey')
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range ?? '') ?? []
  const body = first === undefined ? found.body : found.body.subarray(Number(first), Number(last) + 1)
  sendBytes(res, body, { status: first === undefined ? 200 : 206, headers: headersOf(found) })
}

async function list(objects: MemoryObjects, query: URLSearchParams, res: ServerResponse): Promise<void> {
  const after = query.get('continuation-token') ?? ''
  const options = query.has('delimiter') ? { delimiter: '/' as const } : {}
  const rest = (await Array.fromAsync(objects.list(query.get('prefix') ?? '', options))).filter(({ key }) => key > after)
  const page = rest.slice(0, Math.min(pageSize, Number(query.get('max-keys') ?? pageSize)))
  const more = rest.length > page.length ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${page.at(-1)?.key ?? ''}</NextContinuationToken>` : '<IsTruncated>false</IsTruncated>'
  sendBytes(res, Buffer.from(`<ListBucketResult>${more}${page.map(listed).join('')}</ListBucketResult>`), { contentType: 'application/xml' })
}

function listed(found: ListedObject): string {
  if (found.isPrefix) return `<CommonPrefixes><Prefix>${found.key}</Prefix></CommonPrefixes>`
  return `<Contents><Key>${found.key}</Key><ETag>&quot;${found.etag}&quot;</ETag><Size>${found.sizeBytes}</Size><LastModified>${new Date(found.writtenAtMs).toISOString()}</LastModified></Contents>`
}

function headersOf(found: ObjectStat): Readonly<Record<string, string>> {
  return { ETag: `"${found.etag}"`, 'Last-Modified': new Date(found.writtenAtMs).toUTCString() }
}

function unquoted(etag: string): string {
  return etag.replaceAll('"', '')
}

function refuse(res: ServerResponse, status: number, code: string): void {
  sendBytes(res, Buffer.from(`<Error><Code>${code}</Code></Error>`), { status, contentType: 'application/xml' })
}
