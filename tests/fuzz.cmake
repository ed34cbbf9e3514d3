# Each fuzzer is a program; as a test it runs its seeds once. The long runs are
# `make fuzz`.

file(GLOB fuzzers CONFIGURE_DEPENDS ${here}/fuzz/fuzz_*.c)
foreach(source IN LISTS fuzzers)
    cmake_path(GET source STEM target)
    string(REGEX REPLACE "^fuzz_" "" name ${target})
    peal_test_program(${target} ${source})
    set_target_properties(${target} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzzers)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    foreach(layer IN LISTS PEAL_LAYERS)
        target_link_libraries(${target} PRIVATE peal_${layer})
    endforeach()
    set(seeds "")
    if(IS_DIRECTORY ${here}/fuzz/seeds/${name})
        set(seeds ${here}/fuzz/seeds/${name})
    endif()
    peal_test(fuzz.${name} fuzz $<TARGET_FILE:${target}> -runs=0 ${seeds})
endforeach()
