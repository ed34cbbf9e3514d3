# How everything of ours is compiled. Nothing here reaches a program that uses
# peal by add_subdirectory: flags are put on our own targets one by one.

add_library(peal_flags INTERFACE)
target_compile_options(peal_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes
    -Wmissing-prototypes
    $<$<BOOL:${PEAL_WERROR}>:-Werror>)

if(PEAL_SANITIZE)
    set(sanitize -fsanitize=${PEAL_SANITIZE} -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
    target_compile_options(peal_flags INTERFACE ${sanitize})
    target_link_options(peal_flags INTERFACE ${sanitize})
endif()

if(PEAL_COVERAGE)
    target_compile_options(peal_flags INTERFACE --coverage
        -fprofile-update=atomic)
    target_link_options(peal_flags INTERFACE --coverage)
endif()

if(PEAL_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "PEAL_FUZZ needs clang: -DCMAKE_C_COMPILER=clang")
    endif()
    # Instrumented for the fuzzer, without its main(), which only they get.
    target_compile_options(peal_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Objects carry machine code beside the compiler's own form ("fat"), so that
# the unit tests can link single layers without optimising them anew each time.
set(PEAL_LTO_COMPILE "")
set(PEAL_LTO_LINK "")
if(PEAL_LTO AND CMAKE_C_COMPILER_ID STREQUAL "GNU" AND NOT PEAL_SANITIZE)
    set(PEAL_LTO_COMPILE -flto=auto -ffat-lto-objects)
    set(PEAL_LTO_LINK -flto=auto)
endif()
