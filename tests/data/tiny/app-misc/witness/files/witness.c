#include <stdio.h>

int main(void)
{
#ifdef LOUD
	puts("WITNESS");
#endif
	puts("witness");
	return 0;
}
