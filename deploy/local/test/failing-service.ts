/** Stands for a service that cannot start. */
process.stderr.write("MILLRACE_X is not set\n");
process.exit(2);
