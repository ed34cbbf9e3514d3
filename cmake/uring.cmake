# Whether the library has a ring: PEAL_URING is AUTO (where liburing is), ON
# (an error without) or OFF.

include(CheckSymbolExists)

set(PEAL_RING_LEFT_OUT uring)
set(PEAL_PC_URING "")

if(NOT PEAL_URING MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "PEAL_URING is AUTO, ON or OFF")
endif()
if(NOT PEAL_URING STREQUAL OFF)
    set(CMAKE_REQUIRED_LIBRARIES uring)
    check_symbol_exists(io_uring_submit_and_wait liburing.h PEAL_HAS_LIBURING)
    unset(CMAKE_REQUIRED_LIBRARIES)
    if(PEAL_HAS_LIBURING)
        set(PEAL_RING_LEFT_OUT none)
        set(PEAL_PC_URING ", liburing >= 2.0")
        list(APPEND PEAL_NEEDS uring)
    elseif(PEAL_URING STREQUAL ON)
        message(FATAL_ERROR "PEAL_URING=ON needs liburing (liburing-dev)")
    endif()
endif()
