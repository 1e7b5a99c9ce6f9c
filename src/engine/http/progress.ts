/** Docker's JSON progress stream: one object a line; a failure in mid-stream is a line with `errorDetail` in a 200 response. */
import type { ServerResponse } from 'node:http'
import { asFault } from '#base/fault.ts'
import { humanSize } from '#base/human.ts'
import { sendJson } from '#base/http.ts'
import { jsonText } from '#base/json.ts'

export interface ProgressDetail {
  readonly id?: string
  readonly status: string
  readonly currentBytes?: number
  readonly totalBytes?: number
}

/**
 * Writes a message as a chunk of its own, at once: clients read a message per chunk, and Node joins what is written within a tick.
 * False where the client does not keep up.
 */
export function writeMessage(res: ServerResponse, text: string): boolean {
  res.cork()
  try {
    return res.write(text)
  } finally {
    res.uncork()
  }
}

export class ProgressStream {
  readonly #res: ServerResponse

  constructor(res: ServerResponse) {
    this.#res = res
  }

  line(value: object): void {
    if (this.#res.destroyed) return
    if (!this.#res.headersSent) this.#res.writeHead(200, { 'Content-Type': 'application/json' })
    writeMessage(this.#res, `${jsonText(value)}\r\n`)
  }

  progress({ id, status, currentBytes, totalBytes }: ProgressDetail): void {
    const detail = currentBytes === undefined ? {} : { current: currentBytes, ...(totalBytes === undefined ? {} : { total: totalBytes }) }
    const shown = { progressDetail: detail, ...(currentBytes === undefined ? {} : { progress: progressText(currentBytes, totalBytes) }) }
    this.line({ status, ...(id === undefined && currentBytes === undefined ? {} : shown), ...(id === undefined ? {} : { id }) })
  }

  /** For `load`, whose failures clients look for in the stream only. */
  failInStream(error: unknown): void {
    const { message } = asFault(error)
    this.line({ errorDetail: { message }, error: message })
  }

  /** Before the first line a failure is an ordinary error answer. */
  fail(error: unknown): void {
    const { message, httpStatus, details } = asFault(error)
    // The CLI exits with this code: a failed RUN's own.
    const code = typeof details['exitCode'] === 'number' ? { code: details['exitCode'] } : {}
    if (this.#res.headersSent) this.line({ errorDetail: { ...code, message }, error: message })
    else sendJson(this.#res, { message }, { status: httpStatus })
  }

  end(): void {
    if (!this.#res.headersSent) this.#res.writeHead(200, { 'Content-Type': 'application/json' })
    if (!this.#res.writableEnded) this.#res.end()
  }
}

/** `[====>      ]  12.3MB/45MB`, as clients that do not draw themselves print it. */
function progressText(current: number, total: number | undefined): string {
  if (total === undefined || total <= 0) return humanSize(current, 4)
  const filled = Math.min(50, Math.floor((current / total) * 50))
  return `[${'='.repeat(filled)}${filled < 50 ? '>' : ''}${' '.repeat(Math.max(0, 50 - filled - 1))}]  ${humanSize(current, 4)}/${humanSize(total, 4)}`
}
