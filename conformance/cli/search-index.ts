/** What `docker search` asks of a registry host (the v1 search API), with three answers. */
import { createServer } from 'node:http'

const results = [
  { name: 'team/alpha', description: 'the first', star_count: 12, is_official: true, is_automated: false, is_trusted: false },
  { name: 'team/beta', description: 'a description that is longer than what a table shows of it', star_count: 3, is_official: false, is_automated: true, is_trusted: false },
  { name: 'team/gamma', description: '', star_count: 0, is_official: false, is_automated: false, is_trusted: false },
]

export async function startSearchIndex(port: number): Promise<AsyncDisposable> {
  const server = createServer((req, res) => {
    const url = new URL(req.url ?? '/', 'http://index')
    const asJson = (value: unknown): void => {
      res.setHeader('content-type', 'application/json')
      res.setHeader('x-docker-registry-version', '0.6')
      res.end(JSON.stringify(value))
    }
    if (url.pathname === '/v2/') return asJson({})
    if (url.pathname === '/v1/_ping') return asJson({ standalone: true })
    if (url.pathname !== '/v1/search') return void res.writeHead(404).end()
    const limit = Number(url.searchParams.get('n') ?? 25)
    asJson({ query: url.searchParams.get('q'), num_results: results.length, results: results.slice(0, limit) })
  })
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done))
  return {
    [Symbol.asyncDispose]: () =>
      new Promise<void>((done) => {
        server.closeAllConnections()
        server.close(() => done())
      }),
  }
}
