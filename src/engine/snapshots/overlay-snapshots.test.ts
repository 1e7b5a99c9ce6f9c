/** Both forms of layers keep the contract of snapshots. */
import { describe } from 'node:test'
import { snapshotsSuite } from './snapshots.suite.ts'

describe('layers as folders', () => snapshotsSuite('folder'))
describe('layers as EROFS images', () => snapshotsSuite('erofs'))
