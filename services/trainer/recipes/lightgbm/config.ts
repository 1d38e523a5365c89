/** Where LightGBM's shared library lies; undefined when the variable is not set. */
export const LIBRARY_FILE: string | undefined = process.env.MILLRACE_LIGHTGBM_LIBRARY;
