/** The application's settings, for injection. */
export const SETTINGS = Symbol('settings');
