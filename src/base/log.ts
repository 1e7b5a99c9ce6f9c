/** Structured logs (pino). One line per event, never a secret; ids go into fields, not into the message. */
import { destination, pino } from 'pino'

export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  child(fields: object): Logger
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** A logger that writes JSON lines to a file descriptor (2, standard error, unless told otherwise). */
export function createLogger(options: { readonly name: string; readonly level?: LogLevel; readonly fd?: number }): Logger {
  return pino(
    { name: options.name, level: options.level ?? 'info', base: { pid: process.pid } },
    destination({ fd: options.fd ?? 2, sync: true }),
  )
}

/** For tests and simulations: says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => silentLogger }
