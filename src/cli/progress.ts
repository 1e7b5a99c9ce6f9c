/**
 * Progress of long work. On a terminal one line per part (a layer, a build step) is redrawn in place with a bar; elsewhere
 * each change of status is one plain line, so that logs stay readable.
 */
import { humanSize } from '#base/human.ts'
import { print, type Terminal } from './terminal.ts'

export interface Progress {
  /** The part that moves; '' for a remark about the whole. */
  readonly id: string
  readonly status: string
  readonly current: number
  readonly total: number
}

const barWidth = 30

export function renderBar(current: number, total: number): string {
  const filled = total === 0 ? 0 : Math.min(barWidth, Math.floor((current / total) * barWidth))
  const head = filled < barWidth ? '>' : ''
  return `[${'='.repeat(Math.max(0, filled - head.length))}${head}${' '.repeat(barWidth - Math.max(filled, head.length))}] ${humanSize(current)}/${humanSize(total)}`
}

export class ProgressBoard {
  readonly #terminal: Terminal
  readonly #lines: string[] = []
  readonly #rowOf = new Map<string, number>()
  readonly #lastStatus = new Map<string, string>()

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  async update(progress: Progress): Promise<void> {
    const { id, status, current, total } = progress
    if (this.#terminal.stdout.isTTY !== true) {
      if (status === '' || this.#lastStatus.get(id) === status) return
      this.#lastStatus.set(id, status)
      return print(this.#terminal.stdout, id === '' ? `${status}\n` : `${id}: ${status}\n`)
    }
    const text = `${id === '' ? '' : `${id}: `}${status}${total > 0 && current < total ? ` ${renderBar(current, total)}` : ''}`
    const row = id === '' ? undefined : this.#rowOf.get(id)
    if (row === undefined) {
      this.#rowOf.set(id, this.#lines.length)
      this.#lines.push(text)
      return print(this.#terminal.stdout, `${this.#clipped(text)}\n`)
    }
    this.#lines[row] = text
    const up = this.#lines.length - row
    await print(this.#terminal.stdout, `\u001b[${up}A\r\u001b[2K${this.#clipped(text)}\u001b[${up}B\r`)
  }

  /** Nothing is redrawn afterwards: later output starts below. */
  async close(): Promise<void> {
    this.#rowOf.clear()
    this.#lines.length = 0
  }

  #clipped(text: string): string {
    return text.slice(0, (this.#terminal.stdout.columns ?? 80) - 1)
  }
}
