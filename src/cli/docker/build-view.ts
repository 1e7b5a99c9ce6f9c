/**
 * Shows a build: on a terminal finished steps stay, and below them one line moves for each step under way, with bars and its last words;
 * elsewhere each step and each line of output is a plain line, numbered as BuildKit's plain progress numbers them.
 */
import { StringDecoder } from 'node:string_decoder'
import { stripVTControlCharacters } from 'node:util'
import { renderBar } from '../progress.ts'
import { print, type Terminal } from '../terminal.ts'
import type { TraceEvent } from './build-trace.ts'

interface Step {
  readonly number: number
  readonly name: string
  readonly startedMs: number
  readonly decoder: StringDecoder
  /** The line that has not ended yet. */
  rest: string
  readonly lastLines: string[]
  readonly parts: Map<string, { readonly current: number; readonly total: number }>
}

/** Of a step under way. */
const shownLines = 4
const shownParts = 6

export interface BuildView {
  tell(event: TraceEvent): Promise<void>
  /** Again, for the times of what is under way. */
  tick(): Promise<void>
  /** What is under way is shown no more. */
  close(): Promise<void>
}

export function buildView(terminal: Terminal): BuildView {
  return terminal.stderr.isTTY === true ? new LiveView(terminal) : new PlainView(terminal)
}

function seconds(ms: number): string {
  return `${(Math.max(0, ms) / 1000).toFixed(1)}s`
}

class Steps {
  readonly open = new Map<string, Step>()
  #count = 0

  begin({ id, name, startedMs = 0 }: Extract<TraceEvent, { kind: 'vertex' }>): Step | undefined {
    if (this.open.has(id)) return undefined
    this.#count += 1
    const step: Step = { number: this.#count, name, startedMs, decoder: new StringDecoder('utf8'), rest: '', lastLines: [], parts: new Map() }
    this.open.set(id, step)
    return step
  }

  /** Whole lines of what a step has said. */
  lines(step: Step, data: Buffer): string[] {
    const lines = (step.rest + step.decoder.write(data)).split(/\r?\n|\r/)
    step.rest = lines.pop() ?? ''
    step.lastLines.push(...lines)
    step.lastLines.splice(0, step.lastLines.length - shownLines)
    return lines
  }
}

class PlainView implements BuildView {
  readonly #terminal: Terminal
  readonly #steps = new Steps()

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  async tell(event: TraceEvent): Promise<void> {
    switch (event.kind) {
      case 'vertex': {
        const begun = this.#steps.begin(event)
        if (begun !== undefined) await this.#say(begun, begun.name)
        const step = this.#steps.open.get(event.id)
        if (step === undefined || event.completedMs === undefined) return
        if (step.rest !== '') await this.#say(step, step.rest)
        await this.#say(step, event.error !== '' ? `ERROR: ${event.error.split('\n', 1)[0] ?? ''}` : event.cached ? 'CACHED' : `DONE ${seconds(event.completedMs - step.startedMs)}`)
        return print(this.#terminal.stderr, '\n')
      }
      case 'log': {
        const step = this.#steps.open.get(event.vertex)
        if (step !== undefined) for (const line of this.#steps.lines(step, event.data)) await this.#say(step, `${((event.atMs - step.startedMs) / 1000).toFixed(3)} ${line}`)
        return
      }
      case 'status': {
        const step = this.#steps.open.get(event.vertex)
        if (step === undefined || !event.isDone || step.parts.has(event.part)) return
        step.parts.set(event.part, event)
        return this.#say(step, `${event.part} done`)
      }
      case 'warning':
        return print(this.#terminal.stderr, `WARNING: ${event.short}\n`)
    }
  }

  #say(step: Step, text: string): Promise<void> {
    return print(this.#terminal.stderr, `#${step.number} ${text}\n`)
  }

  async tick(): Promise<void> {
    // Nothing moves in plain lines.
  }

  async close(): Promise<void> {
    // Everything was said when it happened.
  }
}

class LiveView implements BuildView {
  readonly #terminal: Terminal
  readonly #steps = new Steps()
  /** Lines of the moving part. */
  #drawn = 0
  #drawnAtMs = 0

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  async tell(event: TraceEvent): Promise<void> {
    switch (event.kind) {
      case 'vertex': {
        this.#steps.begin(event)
        const step = this.#steps.open.get(event.id)
        if (step === undefined || event.completedMs === undefined) break
        this.#steps.open.delete(event.id)
        return this.#redraw([this.#line(event.error !== '' ? '\u001b[31m => ERROR\u001b[0m' : event.cached ? '\u001b[34m => CACHED\u001b[0m' : '\u001b[34m =>\u001b[0m', step.name, seconds(event.completedMs - step.startedMs))])
      }
      case 'log': {
        const step = this.#steps.open.get(event.vertex)
        if (step !== undefined) this.#steps.lines(step, event.data)
        break
      }
      case 'status':
        this.#steps.open.get(event.vertex)?.parts.set(event.part, event)
        break
      case 'warning':
        return this.#redraw([`\u001b[33mWARNING: ${event.short}\u001b[0m`])
    }
    if (this.#terminal.clock.nowMs() - this.#drawnAtMs >= redrawMs) await this.tick()
  }

  tick(): Promise<void> {
    return this.#redraw([])
  }

  async close(): Promise<void> {
    this.#steps.open.clear()
    await this.#redraw([])
  }

  /** `finished`: lines that stay. */
  async #redraw(finished: readonly string[]): Promise<void> {
    const moving = this.#moving()
    const up = this.#drawn === 0 ? '' : `\u001b[${this.#drawn}A`
    this.#drawn = moving.length
    this.#drawnAtMs = this.#terminal.clock.nowMs()
    await print(this.#terminal.stderr, `${up}\r\u001b[J${[...finished, ...moving].map((line) => `${line}\n`).join('')}`)
  }

  #moving(): string[] {
    const nowMs = this.#terminal.clock.nowMs()
    const rows = Math.max(4, (this.#terminal.stdout.rows || 24) - 2)
    const lines = [...this.#steps.open.values()].flatMap((step) => [
      this.#line(' =>', step.name, seconds(nowMs - step.startedMs)),
      ...[...step.parts].filter(([, { current, total }]) => current < total).slice(-shownParts).map(([part, { current, total }]) => this.#line(' =>', `=> ${part}`, renderBar(current, total))),
      ...step.lastLines.map((line) => this.#line(' => =>', `# ${stripVTControlCharacters(line)}`, '')),
    ])
    return lines.slice(-rows)
  }

  /** As wide as the terminal, the time at its right edge. */
  #line(mark: string, text: string, right: string): string {
    const width = (this.#terminal.stderr.columns || 80) - 1
    const visibleMark = stripVTControlCharacters(mark).length
    const room = Math.max(1, width - visibleMark - right.length - 2)
    return `${mark} ${text.slice(0, room).padEnd(room)} ${right}`
  }
}

const redrawMs = 100
