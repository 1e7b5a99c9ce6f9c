/** The range of Engine API versions served: 1.24 (what old clients fall back to) to 1.50 (docker CLI 28). Minor numbers. */
export const oldestVersion = 24
export const latestVersion = 50
