/* A library that calls its host back when the process ends. */
void (*at_end)(void);

__attribute__((destructor)) static void end(void)
{
    if (at_end)
        at_end();
}
