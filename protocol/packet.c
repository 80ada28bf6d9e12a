/* packet.c: the table of error numbers as a function. */
#include "protocol/packet.h"

const char *packet_sqlstate(unsigned code)
{
    static const struct {
        unsigned code;
        const char *state;
    } table[] = {
#define PACKET_ERROR_ROW(name, number, state) {number, state},
        PACKET_ERRORS(PACKET_ERROR_ROW)
#undef PACKET_ERROR_ROW
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].code == code) {
            return table[i].state;
        }
    }
    return "HY000";
}
