/**
 * `node:http` without its WebSocket: an `import` of that module looks at all its exports, and so loads all of undici, which nothing
 * here uses (15 ms of a start, and memory).
 */
import type * as http from 'node:http'

export const { Agent, STATUS_CODES, ServerResponse, createServer, request } = process.getBuiltinModule('node:http')
export type ServerResponse = http.ServerResponse
